# Files are uploaded first; what comes back is their path on the server.
path=$(curl -s http://localhost:7860/gradio_api/upload -F "files=@first.png" | sed 's/\["\(.*\)"\]/\1/')
id=$(curl -s http://localhost:7860/gradio_api/call/v2/img2vid \
  -H "Content-Type: application/json" \
  -d '{"prompt": "a red star", "first_frame": {"path": "'"$path"'", "meta": {"_type": "gradio.FileData"}}}' \
  | sed 's/.*"event_id": *"\([^"]*\)".*/\1/')
curl -sN "http://localhost:7860/gradio_api/call/img2vid/$id" | tee events.txt
