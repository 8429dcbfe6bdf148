from gradio_client import Client

client = Client("http://localhost:7860")
will_take = client.predict(num_frames=64, batch_count=2, api_name="/estimate")
print(will_take["seconds"], will_take["memory_gb"])
if not will_take["fits"]:
    print(will_take["advice"], will_take["changes"])
