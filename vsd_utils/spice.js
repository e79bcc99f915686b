// Runs inside SPICE's own Java, by the script engine that its output needs anyway: the stock classes, called in turn,
// so that the parser's models are loaded once however many portions of captions there are. One request a line.
var reader = new java.io.BufferedReader(new java.io.InputStreamReader(java.lang.System["in"], "UTF-8"));
var parser = null, tuples = null;

// SPICE asks CoreNLP for tokens, sentences, a parse, lemmas, and for named entities and numbers. Of those last nothing
// is read: only SemanticGraphEnhancer.resolvePlurals would, which SpiceParser leaves out, as its source says. So the
// same pipeline without them gives the same tuples, in five sixths of the time (benchmarks/spice).
function makeParser(cache) {
  var made = new Packages.edu.anu.spice.SpiceParser(cache, 1, true);
  var settings = new java.util.Properties();
  settings.setProperty("annotators", "tokenize,ssplit,parse,lemma");
  settings.setProperty("depparse.extradependencies", "MAXIMAL");
  var annotator = field(made, "annotator").get(made);
  field(annotator, "pipeline").set(annotator, new Packages.edu.stanford.nlp.pipeline.StanfordCoreNLP(settings));
  return made;
}

function field(object, name) {
  var found = object.getClass().getDeclaredField(name);
  found.setAccessible(true);
  return found;
}

for (var line = reader.readLine(); line !== null; line = reader.readLine()) {
  var request = JSON.parse(String(line));
  if (request.parse) {
    if (parser === null) {
      parser = makeParser(request.cache);
      // What parseCaptions does to fill the cache, less the scene graphs that it then builds and nobody asked for.
      tuples = parser.getClass().getDeclaredMethod("loadTuplesFromDB", java.util.List, java.lang.Boolean.TYPE);
      tuples.setAccessible(true);
    }
    var captions = new java.util.ArrayList();
    request.parse.forEach(function (caption) { captions.add(new java.lang.String(caption)); });
    tuples.invoke(parser, captions, true);
  } else {
    Packages.edu.anu.spice.SpiceScorer.main(request.score);
  }
  java.lang.System.out.println("done");
  java.lang.System.out.flush();
}
