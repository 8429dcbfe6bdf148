from gradio_client import Client

client = Client("http://localhost:7860")
job = client.submit(prompt="a yellow heart growing", preset="draft", api_name="/txt2vid")
for video, told, _ in job:
    if video is None:
        print(f"{told['stage']} {told['step']}/{told['total']} {told['note']}", told["eta_s"])
video, recipe, others = job.result()  # raises what went wrong; the loop above would just have ended
