// Runs inside SPICE's own Java, by the script engine that its output needs anyway: the stock classes, called in turn,
// so that the parser's models are loaded once however many portions of captions there are. One request a line.
var reader = new java.io.BufferedReader(new java.io.InputStreamReader(java.lang.System["in"], "UTF-8"));
var parser = null;

for (var line = reader.readLine(); line !== null; line = reader.readLine()) {
  var request = JSON.parse(String(line));
  if (request.parse) {
    if (parser === null) {
      var threads = request.threads || java.lang.Runtime.getRuntime().availableProcessors();
      parser = new Packages.edu.anu.spice.SpiceParser(request.cache, threads, true);
    }
    var captions = new java.util.ArrayList();
    request.parse.forEach(function (caption) { captions.add(new java.lang.String(caption)); });
    parser.parseCaptions(captions);
  } else {
    Packages.edu.anu.spice.SpiceScorer.main(request.score);
  }
  java.lang.System.out.println("done");
  java.lang.System.out.flush();
}
