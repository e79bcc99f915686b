// Runs inside SPICE's own Java, by the script engine that its output needs anyway: the stock classes, called in turn,
// so that the parser's models are loaded once however many portions of captions there are. One request a line.
var reader = new java.io.BufferedReader(new java.io.InputStreamReader(java.lang.System["in"], "UTF-8"));
var parser = null, tuples = null;

// SPICE asks CoreNLP for tokens, sentences, a parse, lemmas, and for named entities and numbers. Of those last nothing
// is read: only SemanticGraphEnhancer.resolvePlurals would, which SpiceParser leaves out, as its source says. And of the
// three dependency graphs that CoreNLP builds of each parse only one is read. So the same pipeline without the rest
// gives the same tuples, in four fifths of the time (benchmarks/spice).
function makeParser(cache) {
  var nlp = Packages.edu.stanford.nlp, settings = new java.util.Properties();
  settings.setProperty("annotators", "tokenize,ssplit");
  settings.setProperty("parse.buildgraphs", "false");
  var pipeline = new nlp.pipeline.StanfordCoreNLP(settings), parse = new nlp.pipeline.ParserAnnotator("parse", settings);
  pipeline.addAnnotator(parse);
  pipeline.addAnnotator(makeGrapher(nlp, field(parse, "parser").get(parse).getTLPParams()));
  pipeline.addAnnotator(new nlp.pipeline.MorphaAnnotator(false));
  var made = new Packages.edu.anu.spice.SpiceParser(cache, 1, true), annotator = field(made, "annotator").get(made);
  field(annotator, "pipeline").set(annotator, pipeline);
  return made;
}

// The graph that SpiceParser reads, made as ParserAnnotator and ParserAnnotatorUtils make it by default.
function makeGrapher(nlp, language) {
  language.setGenerateOriginalDependencies(false);
  var everyWord = nlp.util.Filters.acceptFilter(), heads = language.typedDependencyHeadFinder();
  var structures = language.treebankLanguagePack().grammaticalStructureFactory(everyWord, heads);
  var graphs = nlp.semgraph.SemanticGraphFactory, none = nlp.trees.GrammaticalStructure.Extras.NONE;
  var Sentences = nlp.ling.CoreAnnotations.SentencesAnnotation, Tree = nlp.trees.TreeCoreAnnotations.TreeAnnotation;
  var Graph = nlp.semgraph.SemanticGraphCoreAnnotations.CollapsedCCProcessedDependenciesAnnotation;
  return new nlp.pipeline.Annotator({
    annotate: function (annotation) {
      for (var sentences = annotation.get(Sentences).iterator(); sentences.hasNext();) {
        var sentence = sentences.next(), structure = structures.newGrammaticalStructure(sentence.get(Tree));
        sentence.set(Graph, graphs.generateCCProcessedDependencies(structure, none));
      }
    }
  });
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
