import time

from gradio_client import Client

client = Client("http://localhost:7860")
job = client.submit(prompt="a clip that takes too long", num_frames=1000, api_name="/txt2vid")
while not job.outputs():
    time.sleep(0.1)
job.cancel()  # the server stops at the next step, and keeps nothing
