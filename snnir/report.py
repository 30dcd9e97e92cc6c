def report_html(graph, facts, history):
    return "<html></html>"
