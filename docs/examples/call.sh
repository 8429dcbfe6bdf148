# A call gives an id; the second request streams what happens, the last event with the clip's URL.
id=$(curl -s http://localhost:7860/gradio_api/call/v2/txt2vid \
  -H "Content-Type: application/json" \
  -d '{"prompt": "a red circle", "num_inference_steps": 2}' | sed 's/.*"event_id": *"\([^"]*\)".*/\1/')
curl -sN "http://localhost:7860/gradio_api/call/txt2vid/$id" | tee events.txt
url=$(sed -n '/^event: complete/{n;p;}' events.txt | sed 's/.*"url": *"\([^"]*\.mp4\)".*/\1/')
curl -s "$url" -o clip.mp4
