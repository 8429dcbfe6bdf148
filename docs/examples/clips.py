from gradio_client import Client, handle_file

client = Client("http://localhost:7860")
steered, recipe, _ = client.predict(
    prompt="a red star on a blue background",
    source_video=handle_file("hand.mp4"),
    base_model="demo",
    strength=1,
    controls=[{"model": "demo-canny", "preprocessor": "canny", "weight": "0: 1, 15: 0.5"}],
    api_name="/vid2vid",
)
inside, _, _ = client.predict(
    prompt="a red star on a blue background",
    source_video=handle_file("hand.mp4"),
    base_model="demo",
    mask=handle_file("mask.png"),  # white changes, black stays
    api_name="/vid2vid",
)
