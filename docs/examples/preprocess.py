from gradio_client import Client, handle_file

client = Client("http://localhost:7860")
edges, _ = client.predict(
    clip=handle_file("hand.mp4"),
    preprocessor="canny",
    options={"low": 80},
    width=128,
    height=128,
    api_name="/preprocess",
)
