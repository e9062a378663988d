"""Results as they come, with a progress bar: as_completed.

gather gives all results at the end, in the order asked for; as_completed gives each when it is
there, whoever was asked first.

Output:

    [#...] small
    [##..] medium
    [###.] large: failed, disk full
    [####] huge
"""

import aioxide

SECONDS = {"large": 0.06, "small": 0.01, "huge": 0.09, "medium": 0.03}


async def copy(name: str) -> str:
    await aioxide.sleep(SECONDS[name])
    if name == "large":
        raise OSError(f"{name}: failed, disk full")
    return name


async def main() -> None:
    copies = [copy(name) for name in SECONDS]
    for number, next_one in enumerate(aioxide.as_completed(copies), 1):
        try:
            text = await next_one
        except OSError as error:  # comes out where its own result is awaited, and stops no other
            text = str(error)
        print(f"[{'#' * number:.<{len(copies)}}] {text}")


if __name__ == "__main__":
    aioxide.run(main())
