"""LoRA adapters of SmolLM2-135M-Instruct, made by recipes of known effect: a real pair to audit."""
