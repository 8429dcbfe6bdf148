from gradio_client import Client

client = Client("http://localhost:7860")
models = client.predict(api_name="/models")
for name, what in models["base_models"].items():
    print(name, what)
fields = client.predict(api_name="/fields")
print(fields["Picture"]["scheduler"]["allowed"])
