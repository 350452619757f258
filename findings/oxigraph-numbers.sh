#!/usr/bin/env bash
# Oxigraph keeps the value of a number, not what you wrote, and drops numbers beyond its range from filters.
#
# pyoxigraph 0.5.13 (PyPI) loads "5"^^xsd:int and "05"^^xsd:integer, and returns 5 of type xsd:integer for both; 5.0
# comes back as 5. So a pattern with the literal 5 finds xsd:int too, and COUNT(DISTINCT) is smaller than
# in rdflib 7.6.0, where these are different terms (rdflib only drops the zero of "05").
# Integers beyond 64 bits, and decimals of 22 digits before the point, are stored as they are but do not
# count as numbers: FILTER (?v > 4) leaves their rows out, SUM has no value if one of them is in the
# group, and neither has 9223372036854775807 + 1. No error is raised.
#
# Why it matters with Lambda and RDS: Oxigraph is the handy SPARQL engine for trying on a laptop what will
# run on Neptune behind a function. Code that reads the datatype, or compares the text of a number,
# passes on the laptop for a value that another engine returns otherwise, and a missing SUM is easily read as 0.
# Compare numbers as numbers, and keep identifiers as strings.
set -euo pipefail

work=$(mktemp -d)
cd "$work"
trap 'rm -rf "$work"' EXIT
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check pyoxigraph==0.5.13 rdflib==7.6.0
cat >run.py <<'END'
import pyoxigraph
import rdflib

PREFIX = "PREFIX : <http://example.org/> PREFIX xsd: <http://www.w3.org/2001/XMLSchema#> "
DATA = """
@prefix : <http://example.org/> . @prefix xsd: <http://www.w3.org/2001/XMLSchema#> .
:a :n 5 . :b :n "5"^^xsd:int . :c :n "05"^^xsd:integer . :d :n 5.0 .
:e :big 9223372036854775808 . :f :big 1234567890123456789012.5 . :g :big 7 .
"""
store = pyoxigraph.Store()
store.load(DATA.encode(), pyoxigraph.RdfFormat.TURTLE)
graph = rdflib.Graph().parse(data=DATA, format="turtle")


def short(term):
    if term is None:
        return "no value"
    text = term.n3() if hasattr(term, "n3") else str(term)
    for long, brief in (("http://www.w3.org/2001/XMLSchema#", "xsd:"), ("http://example.org/", ":")):
        text = text.replace(f"<{long}", brief).replace(">", "")
    return text


for query in (
    "SELECT ?s ?v { ?s :n ?v }",
    "SELECT ?s { ?s :n 5 }",
    "SELECT (COUNT(DISTINCT ?v) AS ?x) { ?s :n ?v }",
    "SELECT ?s { ?s :big ?v FILTER (?v > 4) }",
    "SELECT (SUM(?v) AS ?x) { ?s :big ?v }",
    "SELECT (9223372036854775807 + 1 AS ?x) {}",
):
    print(query)
    for name, rows in (("Oxigraph", store.query(PREFIX + query)), ("rdflib", graph.query(PREFIX + query))):
        print(f"    {name}:", "; ".join(sorted(" ".join(short(term) for term in row) for row in rows)))
END

echo "$(venv/bin/python --version), pyoxigraph 0.5.13, rdflib 7.6.0"
venv/bin/python run.py | tee seen
diff - seen <<'END'
SELECT ?s ?v { ?s :n ?v }
    Oxigraph: :a "5"^^xsd:integer; :b "5"^^xsd:integer; :c "5"^^xsd:integer; :d "5"^^xsd:decimal
    rdflib: :a "5"^^xsd:integer; :b "5"^^xsd:int; :c "5"^^xsd:integer; :d "5.0"^^xsd:decimal
SELECT ?s { ?s :n 5 }
    Oxigraph: :a; :b; :c
    rdflib: :a; :c
SELECT (COUNT(DISTINCT ?v) AS ?x) { ?s :n ?v }
    Oxigraph: "2"^^xsd:integer
    rdflib: "3"^^xsd:integer
SELECT ?s { ?s :big ?v FILTER (?v > 4) }
    Oxigraph: :g
    rdflib: :e; :f; :g
SELECT (SUM(?v) AS ?x) { ?s :big ?v }
    Oxigraph: no value
    rdflib: "1243791262160311564827.5"^^xsd:decimal
SELECT (9223372036854775807 + 1 AS ?x) {}
    Oxigraph: no value
    rdflib: "9223372036854775808"^^xsd:integer
END
echo "The behaviour is as described."
