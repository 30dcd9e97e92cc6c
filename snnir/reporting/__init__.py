"""Pages for people: `report.html` of an artefact folder, of a graph, of runs and comparisons.

A page is a list of sections, each made by one module here from the IR's own facts; `page` puts
them together with one style and one script and lets nothing else in.
"""
