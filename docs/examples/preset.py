from gradio_client import Client

client = Client("http://localhost:7860")
_, recipe, _ = client.predict(prompt="a red circle", preset="loop", num_frames=24, api_name="/txt2vid")
print(recipe["closed_loop"], recipe["num_frames"])  # full, from the preset, and 24
