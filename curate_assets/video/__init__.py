"""The video graph, one module per asset or per group of assets that one pass makes."""
