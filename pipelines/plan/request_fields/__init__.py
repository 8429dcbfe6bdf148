"""The fields of a request, in groups; `pipelines/plan/request.py` makes one request of them. No torch."""
