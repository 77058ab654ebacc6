"""Chat templates in the form of public model families, written for these tests."""

from __future__ import annotations

from dataclasses import dataclass, field

CALL = "{% if call.function is defined %}{% set call = call.function %}{% endif %}"
TOOL_LINES = "{% for tool in tools %}{{ '\n' + (tool | tojson) }}{% endfor %}"
IM = "{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}"
IM_PROMPT = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"

CHATML = "{% for m in messages %}" + IM + "{% endfor %}" + IM_PROMPT

SMOLLM2 = "{% if messages[0].role != 'system' %}{{ '<|im_start|>system\nBe of use.<|im_end|>\n' }}{% endif %}" + CHATML

QWEN25 = (
    "{% if messages[0].role == 'system' %}{% set head = messages[0].content %}"
    "{% else %}{% set head = 'Help where you can.' %}{% endif %}"
    "{{ '<|im_start|>system\n' + head }}"
    "{% if tools %}{{ '\n\n<tools>' }}" + TOOL_LINES + "{{ '\n</tools>' }}{% endif %}{{ '<|im_end|>\n' }}"
    "{% for m in messages %}"
    "{% if m.role == 'user' or (m.role == 'system' and not loop.first) %}" + IM + "{% elif m.role == 'assistant' %}"
    "{{ '<|im_start|>assistant' }}{% if m.content %}{{ '\n' + m.content }}{% endif %}"
    "{% for call in m.tool_calls or [] %}" + CALL + '{{ \'\n<tool_call>\n{"name": "\' + call.name + \'", '
    "\"arguments\": ' + (call.arguments | tojson) + '}\n</tool_call>' }}{% endfor %}{{ '<|im_end|>\n' }}"
    "{% elif m.role == 'tool' %}"
    "{% if messages[loop.index0 - 1].role != 'tool' %}{{ '<|im_start|>user' }}{% endif %}"
    "{{ '\n<tool_response>\n' + m.content + '\n</tool_response>' }}"
    "{% if loop.last or messages[loop.index0 + 1].role != 'tool' %}{{ '<|im_end|>\n' }}{% endif %}"
    "{% endif %}{% endfor %}" + IM_PROMPT
)

LAST_QUERY = (
    "{% set seen = namespace(query=-1) %}{% for m in messages %}"
    "{% if m.role == 'user' %}{% set seen.query = loop.index0 %}{% endif %}{% endfor %}"
)
SPLIT = (
    "{% set words = m.content %}{% set thoughts = m.reasoning_content or '' %}"
    "{% if not thoughts and '</think>' in words %}"
    "{% set thoughts = words.split('</think>')[0].split('<think>')[-1].strip('\n') %}"
    "{% set words = words.split('</think>')[-1].lstrip('\n') %}{% endif %}"
)
QWEN3 = (
    "{% if tools %}{{ '<|im_start|>system\n' }}"
    "{% if messages[0].role == 'system' %}{{ messages[0].content + '\n\n' }}{% endif %}"
    "{{ '<tools>' }}" + TOOL_LINES + "{{ '\n</tools><|im_end|>\n' }}"
    "{% elif messages[0].role == 'system' %}{{ '<|im_start|>system\n' + messages[0].content + '<|im_end|>\n' }}{% endif %}"
    + LAST_QUERY
    + "{% for m in messages %}{% if m.role == 'user' %}"
    + IM
    + "{% elif m.role == 'assistant' %}"
    + SPLIT
    + "{{ '<|im_start|>assistant\n' }}"
    "{% if loop.index0 > seen.query and (loop.last or thoughts) %}"
    "{{ '<think>\n' + thoughts.strip('\n') + '\n</think>\n\n' + words.lstrip('\n') }}{% else %}{{ words }}{% endif %}"
    "{% for call in m.tool_calls or [] %}{% if words or not loop.first %}{{ '\n' }}{% endif %}"
    + CALL
    + '{{ \'<tool_call>\n{"name": "\' + call.name + \'", "arguments": \' }}'
    "{{ call.arguments if call.arguments is string else call.arguments | tojson }}{{ '}\n</tool_call>' }}{% endfor %}"
    "{{ '<|im_end|>\n' }}{% elif m.role == 'tool' %}"
    "{{ '<|im_start|>user\n<tool_response>\n' + m.content + '\n</tool_response><|im_end|>\n' }}"
    "{% endif %}{% endfor %}"
    + IM_PROMPT
    + "{% if add_generation_prompt and enable_thinking is defined and not enable_thinking %}"
    "{{ '<think>\n\n</think>\n\n' }}{% endif %}"
)
# The later kind: the prompt itself opens the block.
QWEN3_THINKING = QWEN3.replace(
    "'<|im_start|>assistant\n' }}{% endif %}", "'<|im_start|>assistant\n<think>\n' }}{% endif %}"
)

LLAMA3 = (
    "{{ bos_token }}{% set day = strftime_now('%d %b %Y') %}"
    "{% if messages[0].role == 'system' %}{% set head = messages[0].content | trim %}{% set messages = messages[1:] %}"
    "{% else %}{% set head = '' %}{% endif %}"
    "{{ '<|start_header_id|>system<|end_header_id|>\n\n' }}{% if tools %}{{ 'Environment: ipython\n' }}{% endif %}"
    "{{ 'Today Date: ' + day + '\n\n' }}{% if tools %}{{ 'Functions:' }}" + TOOL_LINES + "{% endif %}"
    "{{ head + '<|eot_id|>' }}"
    "{% for m in messages %}"
    "{% if m.role in ('tool', 'ipython') %}"
    "{{ '<|start_header_id|>ipython<|end_header_id|>\n\n' + (m.content | tojson) + '<|eot_id|>' }}"
    "{% elif m.tool_calls %}"
    "{% if m.tool_calls | length != 1 %}{{ raise_exception('one call at a time') }}{% endif %}"
    "{% set call = m.tool_calls[0].function %}"
    '{{ \'<|start_header_id|>assistant<|end_header_id|>\n\n{"name": "\' + call.name + \'", "parameters": \' }}'
    "{{ (call.arguments | tojson) + '}<|eot_id|>' }}"
    "{% else %}{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' + (m.content | trim) + '<|eot_id|>' }}"
    "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)

DEEPSEEK = (
    "{% set sys = namespace(text='') %}{% for m in messages %}{% if m.role == 'system' %}"
    "{% set sys.text = m.content %}{% endif %}{% endfor %}{{ bos_token + sys.text }}"
    "{% for m in messages %}"
    "{% if m.role == 'user' %}{{ '<｜User｜>' + m.content }}"
    "{% elif m.role == 'assistant' and m.content is none %}{{ '<｜Assistant｜><｜tool▁calls▁begin｜>' }}"
    "{% for call in m.tool_calls %}{{ '<｜tool▁call▁begin｜>' + call.type + '<｜tool▁sep｜>' + call.function.name "
    "+ '\n' + call.function.arguments + '<｜tool▁call▁end｜>' }}{% endfor %}{{ '<｜tool▁calls▁end｜>' + eos_token }}"
    "{% elif m.role == 'assistant' %}THINKS"
    "{{ ('' if messages[loop.index0 - 1].role == 'tool' else '<｜Assistant｜>') + words + eos_token }}"
    "{% elif m.role == 'tool' %}{{ '<｜tool▁output▁begin｜>' + m.content + '<｜tool▁output▁end｜>' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt and messages[-1].role != 'tool' %}{{ '<｜Assistant｜>OPEN' }}{% endif %}"
)
DEEPSEEK_V3 = DEEPSEEK.replace("OPEN", "").replace("THINKS", "{% set words = m.content %}")
DEEPSEEK_R1 = DEEPSEEK.replace("OPEN", "<think>\n").replace(
    "THINKS", "{% set words = m.content.split('</think>')[-1] %}"
)

MISTRAL = (
    "{% if messages[0].role == 'system' %}{% set head = messages[0].content %}{% set messages = messages[1:] %}{% endif %}"
    "{% set seen = namespace(query=-1) %}{% for m in messages %}"
    "{% if m.role == 'user' %}{% set seen.query = loop.index0 %}{% endif %}{% endfor %}"
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}"
    "{% if tools and loop.index0 == seen.query %}{{ '[AVAILABLE_TOOLS]' + (tools | tojson) + '[/AVAILABLE_TOOLS]' }}{% endif %}"
    "{% if loop.last and head is defined %}{{ '[INST] ' + head + '\n\n' + m.content + '[/INST]' }}"
    "{% else %}{{ '[INST] ' + m.content + '[/INST]' }}{% endif %}"
    "{% elif m.tool_calls %}{{ '[TOOL_CALLS] [' }}{% for call in m.tool_calls %}"
    "{{ (call.function | tojson) + (', ' if not loop.last else '') }}{% endfor %}{{ ']' + eos_token }}"
    "{% elif m.role == 'assistant' %}{{ ' ' + m.content + eos_token }}"
    "{% elif m.role == 'tool' %}{{ '[TOOL_RESULTS] {\"content\": ' + (m.content | tojson) + '}[/TOOL_RESULTS]' }}"
    "{% endif %}{% endfor %}"
)

MIXTRAL = (
    "{% if messages[0].role == 'system' %}{% set head = messages[0].content.strip() + '\n\n' %}"
    "{% set messages = messages[1:] %}{% else %}{% set head = '' %}{% endif %}{{ bos_token }}"
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('user and assistant must take turns') }}{% endif %}"
    "{% if m.role == 'user' %}{{ '[INST] ' + (head if loop.first else '') + m.content + ' [/INST]' }}"
    "{% elif m.role == 'assistant' %}{{ ' ' + m.content + eos_token }}"
    "{% else %}{{ raise_exception('only user and assistant') }}{% endif %}{% endfor %}"
)


@dataclass(frozen=True)
class Family:
    template: str
    reply: str
    """A pattern that finds each assistant turn in rendered text; its group `said` is what the model generates."""
    specials: tuple[str, ...]
    bos: str = "<s>"
    eos: str = "</s>"
    swallowing: tuple[str, ...] = field(default=())
    """Those of `specials` that take in the blanks behind them."""


IM_TOKENS = ("<|im_start|>", "<|im_end|>", "<|endoftext|>")
IM_REPLY = r"<\|im_start\|>assistant\n(?P<said>.*?<\|im_end\|>\n)"
THINK = ("<think>", "</think>", "<tool_call>", "</tool_call>")


def im(template: str, reply: str = IM_REPLY) -> Family:
    return Family(template, reply, (*IM_TOKENS, *THINK), "<|endoftext|>", "<|im_end|>")


def deepseek(template: str, opening: str = "") -> Family:
    specials = ("<｜User｜>", "<｜Assistant｜>", "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>", "<｜tool▁sep｜>")
    outputs = ("<｜tool▁output▁begin｜>", "<｜tool▁output▁end｜>", "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>")
    reply = rf"(?:<｜Assistant｜>{opening}|<｜tool▁output▁end｜>)(?P<said>.*?</s>)"
    return Family(template, reply, (*specials, *outputs, *THINK[:2]))


MISTRAL_TOKENS = ("[INST]", "[/INST]", "[TOOL_CALLS]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]")
MISTRAL_REPLY = r"(?:\[/INST\]|\[/TOOL_RESULTS\])(?P<said>.*?</s>)"
LLAMA_REPLY = r"<\|start_header_id\|>assistant<\|end_header_id\|>\n\n(?P<said>.*?<\|eot_id\|>)"

FAMILIES = {
    "chatml": im(CHATML),
    "smollm2": im(SMOLLM2),
    "qwen2.5": im(QWEN25, r"<\|im_start\|>assistant\n(?P<said>.*?<\|im_end\|>\n)"),
    "qwen3": im(QWEN3),
    "qwen3-thinking": im(QWEN3_THINKING, r"<\|im_start\|>assistant\n(?:<think>\n)?(?P<said>.*?<\|im_end\|>\n)"),
    "llama3": Family(
        LLAMA3,
        LLAMA_REPLY,
        ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|begin|>"),
        "<|begin|>",
        "<|eot_id|>",
    ),
    "deepseek-v3": deepseek(DEEPSEEK_V3),
    "deepseek-r1": deepseek(DEEPSEEK_R1, r"(?:<think>\n)?"),
    "mistral": Family(MISTRAL, MISTRAL_REPLY, (*MISTRAL_TOKENS, "[/TOOL_RESULTS]")),
    "mixtral": Family(MIXTRAL, MISTRAL_REPLY, ("[INST]", "[/INST]")),
}
