"use strict";
// what Sphinx's Russian lacks; the page would show nothing instead
Documentation.addTranslations({
  locale: "ru",
  plural_expr: "(n%10==1 && n%100!=11 ? 0 : n%10>=2 && n%10<=4 && (n%100<10 || n%100>=20) ? 1 : 2)",
  messages: {
    "Search finished, found one page matching the search query.": [
      "Найдена ${resultCount} страница.",
      "Найдено ${resultCount} страницы.",
      "Найдено ${resultCount} страниц.",
    ],
  },
});
