from gradio_client import Client

client = Client("http://localhost:7860")
job = client.submit(prompt="a blue square", seed=7, batch_count=3, preset="draft", api_name="/txt2vid")
job.result()
clips = [(video, recipe["seed"]) for video, recipe, others in job.outputs() if video]
print(clips)  # the seeds are 7, 8 and 9
