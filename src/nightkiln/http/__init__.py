"""HTTP as a face: OpenAI's and Anthropic's batch APIs and our own, over the same use cases.

Routes parse with `wire`, call `service` and write with `wire`; they decide nothing
themselves. Heavy imports (FastAPI) happen here and in nothing that the package loads
by itself.
"""
