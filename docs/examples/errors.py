from gradio_client import Client
from gradio_client.exceptions import AppError

client = Client("http://localhost:7860")
try:
    client.predict(prompt="a red circle", num_frames=-1, api_name="/txt2vid")
except AppError as error:
    told = str(error)
    print(error.title)  # value.greater_than_equal
    print(told)  # num_frames must be greater than or equal to 1, got -1. Change 'Frames'.
