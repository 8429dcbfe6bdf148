from gradio_client import Client, handle_file

client = Client("http://localhost:7860")
video, recipe, _ = client.predict(
    prompt="a red star moving right on a cyan background",
    first_frame=handle_file("first.png"),
    last_frame=handle_file("last.png"),
    api_name="/img2vid",
)
print(recipe["first_frame"])  # the SHA-256 of the picture: it may be sent in its place as long as the server has it
