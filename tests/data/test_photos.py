"""A photo's pixels are what a viewer shows, or it is refused with its name."""

import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from vsd_utils.common.errors import VsdError
from vsd_utils.common.sections import Convert
from vsd_utils.data import samples
from vsd_utils.data.annotations import Item, Versions
from vsd_utils.data.photos import index_photos, open_photo, photo_of, photo_size, same_pictures

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 128, 0), (0, 0, 255), (255, 255, 255)


def corner(mode: str = "RGB", size: tuple[int, int] = (40, 24)) -> Image.Image:
    """White, with a red square in the upper left corner."""
    image = Image.new("RGB", size, "white")
    image.paste(RED, (0, 0, 8, 8))
    return image.convert(mode)


def at(image: Image.Image, place: tuple[int, int]) -> tuple[int, ...]:
    assert image.mode == "RGB"
    return image.getpixel(place)


def near(found: tuple[int, ...], wanted: tuple[int, ...], tolerance: int = 6) -> bool:
    return max(abs(one - other) for one, other in zip(found, wanted, strict=True)) <= tolerance


# How the upright picture was turned before it was saved, by the EXIF orientation that turns it back.
TURNED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
@pytest.mark.parametrize("orientation", TURNED)
def test_a_photo_stands_upright(tmp_path, suffix, orientation) -> None:
    path = tmp_path / f"photo.{suffix}"
    stored = corner() if TURNED[orientation] is None else corner().transpose(TURNED[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(path, quality=95, exif=exif)
    shown = open_photo(path)
    assert shown.size == photo_size(path) == (40, 24)
    assert near(at(shown, (3, 3)), RED, 30)
    assert all(near(at(shown, place), WHITE, 30) for place in ((36, 3), (3, 20), (36, 20)))
    assert shown.info == {}


def test_the_boxes_are_drawn_on_the_photo_as_it_is_shown(tmp_path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    corner(size=(80, 60)).transpose(Image.Transpose.ROTATE_90).save(tmp_path / "7.jpg", exif=exif, quality=95)
    triple = {"s": "cup", "o": "box", "p": "on", "s_bbox": [0, 20, 60, 80], "o_bbox": [40, 60, 0, 20]}
    item = Item.model_validate({"img_id": "7", "triple_list": [triple], "captions": ["a cup"]})
    settings = Convert(
        system_prompt="none", draw_boxes=True, box_width=0.02, canvas_margin=0.0, task2_captions=0, task3_captions=None
    )
    (made,) = samples.build([Versions(item, item)], "val", index_photos(tmp_path), settings, tmp_path / "samples")
    assert made.size == (80, 60)
    with Image.open(tmp_path / "samples" / made.triples[0].image) as drawn:
        assert near(at(drawn, (3, 3)), RED, 40)  # the photo's own square, still in the upper left corner
        assert near(at(drawn, (60, 10)), RED, 40)  # the subject's box, at the right


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_exif_is_passed_over_as_viewers_do(tmp_path) -> None:
    corner().save(tmp_path / "a.jpg", quality=95, exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\xff" * 40)
    assert open_photo(tmp_path / "a.jpg").size == photo_size(tmp_path / "a.jpg") == (40, 24)


def test_transparent_parts_are_white(tmp_path) -> None:
    half = Image.new("RGBA", (40, 24), (0, 0, 0, 0))
    half.paste((*GREEN, 255), (0, 0, 8, 8))
    half.paste((0, 0, 0, 128), (20, 0, 28, 8))
    paletted = Image.new("P", (40, 24), 0)
    paletted.putpalette([*BLUE, *GREEN])
    paletted.paste(1, (0, 0, 8, 8))
    keyed = Image.new("RGB", (40, 24), BLUE)
    keyed.paste(GREEN, (0, 0, 8, 8))
    half.save(tmp_path / "rgba.png")
    half.save(tmp_path / "rgba.webp", lossless=True)
    half.convert("LA").save(tmp_path / "la.png")
    paletted.save(tmp_path / "p.png", transparency=0)
    paletted.save(tmp_path / "p.gif", transparency=0)
    keyed.save(tmp_path / "rgb.png", transparency=BLUE)
    for path in sorted(tmp_path.iterdir()):
        shown = open_photo(path)
        assert at(shown, (36, 20)) == WHITE, path
        assert near(at(shown, (3, 3)), (75, 75, 75) if path.name == "la.png" else GREEN), path
    assert at(open_photo(tmp_path / "rgba.png"), (23, 3)) == (127, 127, 127)


def test_every_kind_of_pixels_is_shown_as_viewers_do(tmp_path) -> None:
    ramp = np.linspace(0, 65535, 40).round().astype(np.uint16)
    Image.fromarray(np.tile(ramp, (24, 1))).save(tmp_path / "grey16.png")
    shown = np.asarray(open_photo(tmp_path / "grey16.png"))
    assert np.abs(shown[0, :, 0] - ramp / 257).max() <= 0.5
    assert (shown == shown[:, :, :1]).all()
    two = Image.new("1", (40, 24), 1)
    two.paste(0, (0, 0, 8, 8))
    two.save(tmp_path / "one.png")
    assert [at(open_photo(tmp_path / "one.png"), place) for place in ((3, 3), (36, 20))] == [(0, 0, 0), WHITE]
    corner("L").save(tmp_path / "grey.jpg", quality=95)
    assert near(at(open_photo(tmp_path / "grey.jpg"), (3, 3)), (76, 76, 76))
    corner("P").save(tmp_path / "palette.bmp")
    assert at(open_photo(tmp_path / "palette.bmp"), (3, 3)) == RED
    corner("CMYK").save(tmp_path / "print.jpg", quality=95)  # inverted, as Adobe's programs write it
    assert near(at(open_photo(tmp_path / "print.jpg"), (3, 3)), RED, 12)
    assert near(at(open_photo(tmp_path / "print.jpg"), (36, 20)), WHITE)


def test_of_an_animation_the_first_frame_is_shown(tmp_path) -> None:
    frames = [Image.new("RGB", (40, 24), colour) for colour in (RED, GREEN, BLUE)]
    for name in ("a.gif", "a.webp", "a.png"):
        options = {"lossless": True} if name == "a.webp" else {}
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], duration=100, **options)
        assert at(open_photo(tmp_path / name), (3, 3)) == RED, name
    frames[2].save(tmp_path / "still.png", save_all=True, append_images=frames[:2], default_image=True)
    assert at(open_photo(tmp_path / "still.png"), (3, 3)) == RED  # the animation's, not the still before it
    gif = bytearray((tmp_path / "a.gif").read_bytes())
    gif[6:10] = struct.pack("<HH", 60, 24)  # a screen wider than the frame
    (tmp_path / "small.gif").write_bytes(gif)
    shown = open_photo(tmp_path / "small.gif")
    assert (shown.size, at(shown, (3, 3)), at(shown, (50, 3))) == ((60, 24), RED, WHITE)


def swapped_profile() -> bytes:
    """sRGB with red and green exchanged: who passes over the profile shows the wrong colours, plainly."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = struct.unpack(">I", profile[128:132])[0]
    names = {bytes(profile[132 + 12 * n : 136 + 12 * n]): 132 + 12 * n for n in range(count)}
    red, green = names[b"rXYZ"], names[b"gXYZ"]
    profile[red + 4 : red + 12], profile[green + 4 : green + 12] = (
        profile[green + 4 : green + 12],
        profile[red + 4 : red + 12],
    )
    return bytes(profile)


def test_colour_profiles(tmp_path) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8))
    for name, profile in (("none", None), ("srgb", srgb), ("broken", b"no profile"), ("cut", srgb[:200])):
        noise.save(tmp_path / f"{name}.png", icc_profile=profile)
        assert (np.asarray(open_photo(tmp_path / f"{name}.png")) == np.asarray(noise)).all(), name
    corner("L").save(tmp_path / "grey.png", icc_profile=srgb)  # of another kind of pixels
    assert near(at(open_photo(tmp_path / "grey.png"), (3, 3)), (76, 76, 76))
    swapped = Image.new("RGB", (40, 24), (255, 0, 0))
    for name in ("swapped.png", "swapped.jpg", "swapped.webp"):
        swapped.save(tmp_path / name, icc_profile=swapped_profile(), quality=95)
        red, green, blue = at(open_photo(tmp_path / name), (3, 3))
        assert green > 240, name
        assert max(red, blue) < 40, name
    seen = Image.new("RGBA", (40, 24), (255, 0, 0, 0))
    seen.paste((255, 0, 0, 255), (0, 0, 8, 8))
    seen.save(tmp_path / "seen.png", icc_profile=swapped_profile())
    assert at(open_photo(tmp_path / "seen.png"), (3, 3))[1] > 240
    assert at(open_photo(tmp_path / "seen.png"), (36, 20)) == WHITE


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )


def jpeg() -> bytes:
    buffer = BytesIO()
    corner(size=(200, 150)).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


BROKEN = {
    # content; what is said of it; whether its header tells
    "empty.jpg": (b"", "it is empty", True),
    "page.jpg": (b"<html>gone</html>", "not a JPEG, PNG, WebP, GIF or BMP", True),
    "cut.jpg": (jpeg()[:-400], "truncated", False),
    "cut.png": (png(40, 24)[:-30], "cannot be read as an image", False),
    "short.png": (png(4000, 2400), "cannot be read as an image", False),
    "bomb.png": (png(60_000, 60_000), "claims more than 89,478,485 pixels", True),
    "long.png": (png(70_000, 10), "a side of more than 65,500", True),
    "text.png": (png(40, 24, (b"zTXt", b"a\0\0" + zlib.compress(b"a" * 2**24))), "cannot be read as an image", True),
    "chunk.png": (png(40, 24).replace(b"IDAT", b"IDA\xff"), "cannot be read as an image", True),
    "float.jpg": (None, "not a JPEG, PNG, WebP, GIF or BMP", True),  # a TIFF of floats, which no browser shows
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_cannot_be_shown_is_refused_by_name(tmp_path, name) -> None:
    content, said, header = BROKEN[name]
    path = tmp_path / name
    if content is None:
        Image.new("F", (40, 24), 0.5).save(path, "TIFF")
    else:
        path.write_bytes(content)
    for look in [open_photo, photo_size][: 1 + header]:
        with pytest.raises(VsdError) as caught:
            look(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert said in str(caught.value)
    with pytest.raises(VsdError, match=r"none.jpg: no such photo"):
        open_photo(tmp_path / "none.jpg")


def test_a_huge_remark_of_a_whole_png_is_no_crash(tmp_path) -> None:
    remarks = PngImagePlugin.PngInfo()
    for number in range(80):
        remarks.add_text(f"k{number}", "a" * 10**6, zip=True)
    corner().save(tmp_path / "a.png", pnginfo=remarks)
    with pytest.raises(VsdError, match=r"a.png: cannot be read as an image"):
        open_photo(tmp_path / "a.png")


def test_photos_are_found_by_id(tmp_path) -> None:
    elsewhere = tmp_path / "elsewhere"
    photos = tmp_path / "photos"
    for number, place in enumerate(
        (
            elsewhere / "2345.jpg",
            photos / "VG_100K" / "1.jpg",
            photos / "4321_0a1b2c.jpg",
            photos / "nyu_0007.PNG",
        )
    ):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(str(number))
    (photos / "notes.txt").touch()
    (photos / "VG_100K_2").symlink_to(elsewhere)
    (elsewhere / "again").symlink_to(photos)  # a circle
    wanted = {
        "1": "VG_100K/1.jpg",
        "2345": "VG_100K_2/2345.jpg",
        "4321_0a1b2c.jpg": "4321_0a1b2c.jpg",
        "nyu_0007.PNG": "nyu_0007.PNG",
        "nyu_0007": "nyu_0007.PNG",
    }
    index = index_photos(photos)
    assert {name: photo_of(name, index) for name in wanted} == {name: photos / place for name, place in wanted.items()}
    with pytest.raises(VsdError, match=r"img_id 'notes': no photo of this name \(or with .jpg, .*\) in .*photos"):
        photo_of("notes", index)
    with pytest.raises(VsdError, match=r"nowhere: no such folder of photos. Set fetch.photos"):
        index_photos(tmp_path / "nowhere")

    # A copy is no conflict, another picture is, but only for who wants it.
    (elsewhere / "1.png").write_bytes((photos / "VG_100K" / "1.jpg").read_bytes())
    assert photo_of("1", index_photos(photos)) == photos / "VG_100K/1.jpg"
    (elsewhere / "1.png").write_text("another")
    index = index_photos(photos)
    assert photo_of("2345", index) == photos / "VG_100K_2/2345.jpg"
    with pytest.raises(VsdError, match=r"both VG_100K/1.jpg and VG_100K_2/1.png could be the photo of '1'. Keep one"):
        photo_of("1", index)


def test_photos_with_the_same_bytes_are_grouped(tmp_path) -> None:
    paths: dict[str, Path] = {}
    for name, content in {"a": "gone", "b": "here", "c": "gone", "d": "else", "e": "longer"}.items():
        paths[name] = tmp_path / f"{name}.jpg"
        paths[name].write_text(content)
    assert same_pictures(paths) == [["a", "c"]]
