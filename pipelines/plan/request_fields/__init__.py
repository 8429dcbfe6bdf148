"""Groups of fields that `pipelines/plan/request.py` joins to one request."""
