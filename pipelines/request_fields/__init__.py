"""The fields of a request, in groups; `pipelines/request.py` makes one request of them. No torch."""
