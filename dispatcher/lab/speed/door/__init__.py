"""What the bridge takes of a request, beside the same request without it: `drover lab speed` measures it in each round."""
