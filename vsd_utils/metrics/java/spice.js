// Runs inside SPICE's own Java: the stock classes, called in turn, so that the parser's models are loaded once however
// many portions of captions there are. One request a line, answered by one line that begins with "answer ". What SPICE
// takes from a parse, its tuples, goes out and comes back in as JSON: the caller keeps it, and not the jar's own cache,
// whose memory-mapped file (LMDB) kills Java when it is damaged or its disk is full, and has no library for ARM.
var SpiceParser = Packages.edu.anu.spice.SpiceParser, spiceParser = java.lang.Class.forName("edu.anu.spice.SpiceParser");
var Json = Packages.org.json.simple.JSONValue;
var reader = new java.io.BufferedReader(new java.io.InputStreamReader(java.lang.System["in"], "UTF-8"));
var parser = null, scorer = null, tuples = null;

// SPICE asks CoreNLP for tokens, sentences, a parse, lemmas, and for named entities and numbers. Of those last nothing
// is read: only SemanticGraphEnhancer.resolvePlurals would, which SpiceParser leaves out, as its source says. And of the
// three dependency graphs that CoreNLP builds of each parse only one is read. So the same pipeline without the rest
// gives the same tuples, in four fifths of the time (benchmarks/spice).
function makeParser() {
  var nlp = Packages.edu.stanford.nlp, settings = new java.util.Properties();
  settings.setProperty("annotators", "tokenize,ssplit");
  settings.setProperty("parse.buildgraphs", "false");
  var pipeline = new nlp.pipeline.StanfordCoreNLP(settings), parse = new nlp.pipeline.ParserAnnotator("parse", settings);
  pipeline.addAnnotator(parse);
  pipeline.addAnnotator(makeGrapher(nlp, field(parse, "parser").get(parse).getTLPParams()));
  pipeline.addAnnotator(new nlp.pipeline.MorphaAnnotator(false));
  var made = new SpiceParser(null, 1, true), annotator = field(made, "annotator").get(made);
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

// The tuples of each caption, in order; the captions are distinct.
function parse(captions) {
  if (parser === null) parser = makeParser();
  var generate = spiceParser.getDeclaredMethod("generateTuples", java.util.List);
  generate.setAccessible(true);
  var found = generate.invoke(parser, captions), answer = new java.util.ArrayList();
  for (var caption = captions.iterator(); caption.hasNext();) answer.add(found.get(caption.next()));
  return answer;
}

// SpiceScorer.scoreBatch between its reading and its writing: the F-score of each [caption, references].
function score(pairs) {
  if (scorer === null) {
    scorer = new JavaAdapter(SpiceParser, {loadTuples: function (captions) { return tuples; }}, null, 1, true);
  }
  var captions = new java.util.ArrayList(), references = new java.util.ArrayList(), counts = new java.util.ArrayList();
  for (var each = pairs.iterator(); each.hasNext();) {
    var pair = each.next();
    captions.add(pair.get(0));
    references.addAll(pair.get(1));
    counts.add(new java.lang.Integer(pair.get(1).size()));
  }
  var Tuples = Packages.edu.anu.spice.TupleSet, answer = new java.util.ArrayList();
  var right = scorer.parseCaptions(references, counts), given = scorer.parseCaptions(captions);
  for (var number = 0; number < given.size(); number++) {
    var test = new Tuples(given.get(number)), known = new Tuples(right.get(number));
    answer.add(new java.lang.Double(new Packages.edu.anu.spice.Evaluation(test, known, false, true).f));
  }
  return answer;
}

for (var line = reader.readLine(); line !== null; line = reader.readLine()) {
  var request = Json.parse(line), answer;
  if (request.containsKey("parse")) {
    answer = parse(request.get("parse"));
  } else {
    tuples = request.get("tuples");
    answer = score(request.get("score"));
  }
  // ASCII alone, so that no encoding stands between, and half a UTF-16 pair comes through.
  var text = String(Json.toJSONString(answer)).replace(/[^ -~]/g, function (character) {
    return "\\u" + ("000" + character.charCodeAt(0).toString(16)).slice(-4);
  });
  java.lang.System.out.println("answer " + text);
  java.lang.System.out.flush();
}
