"""An agent under governance; an empty line ends it.

It needs the package nullrun[websocket], and NULLRUN_API_URL and NULLRUN_API_KEY in the environment.
"""

import nullrun

runtime = nullrun.init()


@nullrun.protect
def refund(amount: str) -> str:
    """Something worth governing."""
    # Here a model would be called. The SDK reports calls that the openai and anthropic packages make by itself.
    runtime.track_llm(input_tokens=12_000, output_tokens=1_000, model="gpt-4o")
    return f"{amount} refunded"


while amount := input("How much? "):
    try:
        print(refund(amount=amount))
    except nullrun.NullRunError as refusal:
        print(f"Refused: {refusal}")
