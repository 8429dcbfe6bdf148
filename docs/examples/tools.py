import anyio
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client


async def make() -> str:
    async with (
        streamable_http_client("http://localhost:7860/gradio_api/mcp/") as (read, write, *_),
        ClientSession(read, write) as session,
    ):
        await session.initialize()
        answer = await session.call_tool(
            "make_clip",
            {"prompt": "a red circle moving right", "preset": "draft", "settings": {"fps": 12}},
            progress_callback=told,
        )
        return answer.content[0].text


async def told(progress: float, total: float | None, message: str | None) -> None:
    print(message)  # Progress denoise: Step 3 of 8


url = anyio.run(make)
print(url)  # the clip, to be fetched
