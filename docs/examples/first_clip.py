from gradio_client import Client

client = Client("http://localhost:7860")
video, recipe, others = client.predict(
    prompt="a red circle moving right on a blue background",
    formats=["MP4", "GIF"],
    api_name="/txt2vid",
)
print(video)  # the MP4, downloaded
print(others)  # the GIF
print(recipe["seed"])
