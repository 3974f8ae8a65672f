"use strict";
// Guides and the reference come before what tells the history: decisions, the changelog, the tests. Other values are Sphinx's own.
const HISTORY = /^(decisions\/|changelog$|testing$|licences$|contributing$|style$)/;
var Scorer = {
  score: ([docname, , , , score]) => (HISTORY.test(docname) ? score - 20 : score),
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
