// Everything is there: begin.

showHead();
showFilters();
showStatistics();
showFaults();
showHelp();
listen();
filterKeys();
if (report.keys.length) choose(0);
else {
  byId("empty").hidden = false;
  byId("empty").textContent = "There are no operations in this history.";
}
