from gradio_client import Client

client = Client("http://localhost:7860")
first, recipe, _ = client.predict(prompt="a green star", preset="draft", formats=["PNG"], api_name="/txt2vid")
again, _, _ = client.predict(**recipe, api_name="/txt2vid")  # the same frames
