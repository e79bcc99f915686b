"""Jupyter without the user's settings: a kernel of this very interpreter, pages from nbconvert's own templates."""

from ipykernel.kernelspec import get_kernel_dict
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.paths import ENV_JUPYTER_PATH
from nbconvert import HTMLExporter


class KernelManager(AsyncKernelManager):
    """Starts ``sys.executable``; a kernel called python3 in the home folder or ``JUPYTER_PATH`` may be any Python."""

    @property
    def kernel_spec(self) -> KernelSpec:
        """Return what ipykernel would install for this interpreter."""
        return KernelSpec(**get_kernel_dict())


class Page(HTMLExporter):
    """A notebook as one HTML page; a template called lab in the home folder or ``JUPYTER_PATH`` changes nothing."""

    def get_prefix_root_dirs(self) -> list[str]:
        """Look for templates in the Python environment alone."""
        return list(ENV_JUPYTER_PATH)
