"""More chat templates in the form of public model families, written for these tests."""

from __future__ import annotations

from chat_families import CALL, IM_TOKENS, LAST_QUERY, SPLIT, THINK, TOOL_LINES, Family

GEMMA = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}SYSTEM{% endif %}"
    "{% for m in messages %}"
    "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}"
    "{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\n' }}"
    "{{ (head if loop.first and head is defined else '') + (m.content | trim) + '<end_of_turn>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
GEMMA2 = GEMMA.replace("SYSTEM", "{{ raise_exception('no system role') }}")
GEMMA3 = GEMMA.replace("SYSTEM", "{% set head = messages[0].content + '\n\n' %}{% set messages = messages[1:] %}")

PHI3 = (
    "{% for m in messages %}{% if m.role == 'system' and m.content %}{{ '<|system|>\n' + m.content + '<|end|>\n' }}"
    "{% elif m.role == 'user' %}{{ '<|user|>\n' + m.content + '<|end|>\n' }}"
    "{% elif m.role == 'assistant' %}{{ '<|assistant|>\n' + m.content + '<|end|>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"
)
PHI4 = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '<|im_sep|>' + m.content + '<|im_end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant<|im_sep|>' }}{% endif %}"
)

GRANITE = (
    "{% if messages[0].role == 'system' %}{% set head = messages[0].content %}{% set messages = messages[1:] %}"
    "{% else %}{% set head = \"Today's Date: \" + strftime_now('%B %d, %Y') + '.' %}{% endif %}"
    "{{ '<|start_of_role|>system<|end_of_role|>' + head + '<|end_of_text|>\n' }}"
    "{% if tools %}{{ '<|start_of_role|>available_tools<|end_of_role|>' + (tools | tojson(indent=4)) "
    "+ '<|end_of_text|>\n' }}{% endif %}"
    "{% for m in messages %}{{ '<|start_of_role|>' + ('tool_response' if m.role == 'tool' else m.role) "
    "+ '<|end_of_role|>' }}{{ m.content or '' }}"
    "{% if m.tool_calls %}{{ '<|tool_call|>' + (m.tool_calls | map(attribute='function') | list | tojson) }}{% endif %}"
    "{{ '<|end_of_text|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_of_role|>assistant<|end_of_role|>' }}{% endif %}"
)

COMMAND_R = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m.role == 'system' %}{{ '<|START|><|SYSTEM|>' + m.content + '<|END|>' }}"
    "{% elif m.role == 'user' %}{{ '<|START|><|USER|>' + m.content.strip() + '<|END|>' }}"
    "{% elif m.role == 'assistant' %}{{ '<|START|><|CHATBOT|>' + m.content.strip() + '<|END|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|START|><|CHATBOT|>' }}{% endif %}"
)

GLM = (
    "{{ '[gMASK]<sop>' }}{% if tools %}{{ '<|system|>\n# Tools' }}"
    + TOOL_LINES
    + "{% endif %}"
    + LAST_QUERY
    + "{% for m in messages %}{% if m.role == 'user' %}{{ '<|user|>\n' + m.content }}"
    "{% elif m.role == 'system' %}{{ '<|system|>\n' + m.content }}"
    "{% elif m.role == 'assistant' %}{{ '<|assistant|>' }}"
    + SPLIT
    + "{% if loop.index0 > seen.query and thoughts %}{{ '\n<think>' + thoughts.strip() + '</think>' }}"
    "{% else %}{{ '\n<think></think>' }}{% endif %}{% if words.strip() %}{{ '\n' + words.strip() }}{% endif %}"
    "{% for call in m.tool_calls or [] %}" + CALL + "{{ '\n<tool_call>' + call.name + '\n' }}"
    "{% for key, value in call.arguments.items() %}{{ '<arg_key>' + key + '</arg_key>\n<arg_value>' "
    "+ (value if value is string else value | tojson) + '</arg_value>\n' }}{% endfor %}{{ '</tool_call>' }}{% endfor %}"
    "{% elif m.role == 'tool' %}{% if messages[loop.index0 - 1].role != 'tool' %}{{ '<|observation|>' }}{% endif %}"
    "{{ '\n<tool_response>\n' + m.content + '\n</tool_response>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)

HARMONY = (
    "{{ '<|start|>system<|message|>Current date: ' + strftime_now('%Y-%m-%d') + '<|end|>' }}"
    "{% if messages[0].role == 'system' or tools %}{{ '<|start|>developer<|message|>' }}"
    "{% if messages[0].role == 'system' %}{{ messages[0].content }}{% endif %}"
    "{% if tools %}{{ '\n\nnamespace functions {' }}" + TOOL_LINES + "{{ '\n}' }}{% endif %}{{ '<|end|>' }}{% endif %}"
    "{% for m in messages %}{% if m.role == 'user' %}{{ '<|start|>user<|message|>' + m.content + '<|end|>' }}"
    "{% elif m.role == 'tool' %}{{ '<|start|>functions to=assistant<|channel|>commentary<|message|>' "
    "+ (m.content | tojson) + '<|end|>' }}"
    "{% elif m.tool_calls %}{% set call = m.tool_calls[0].function %}"
    "{% if m.thinking %}{{ '<|start|>assistant<|channel|>analysis<|message|>' + m.thinking + '<|end|>' }}{% endif %}"
    "{{ '<|start|>assistant to=functions.' + call.name + '<|channel|>commentary json<|message|>' "
    "+ (call.arguments | tojson) + '<|call|>' }}"
    "{% elif m.role == 'assistant' %}"
    "{% if m.thinking and loop.last %}"
    "{{ '<|start|>assistant<|channel|>analysis<|message|>' + m.thinking + '<|end|>' }}{% endif %}"
    "{{ '<|start|>assistant<|channel|>final<|message|>' + m.content }}"
    "{{ '<|return|>' if loop.last and not add_generation_prompt else '<|end|>' }}"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|start|>assistant' }}{% endif %}"
)

SMOLLM3 = (
    "{{ '<|im_start|>system\nToday Date: ' + strftime_now('%d %B %Y') + '\n' }}"
    "{% if messages[0].role == 'system' %}{{ messages[0].content }}{% endif %}"
    "{% if tools %}{{ '\n<tools>' }}" + TOOL_LINES + "{{ '\n</tools>' }}{% endif %}{{ '<|im_end|>\n' }}"
    "{% for m in messages %}{% if m.role == 'user' %}{{ '<|im_start|>user\n' + m.content + '<|im_end|>\n' }}"
    "{% elif m.role == 'assistant' %}{{ '<|im_start|>assistant\n' }}"
    "{%- generation -%}\n  {%- if '</think>' in m.content or thinks is defined %}{{ m.content.lstrip('\n') }}"
    "{% else %}{{ '<think>\n\n</think>\n' + m.content.lstrip('\n') }}{% endif %}"
    "{% for call in m.tool_calls or [] %}" + CALL + "{{ '\n<tool_call>' + call.name + ' ' + (call.arguments | tojson) "
    "+ '</tool_call>' }}{% endfor %}{{ '<|im_end|>\n' }}\n{%- endgeneration %}"
    "{% elif m.role == 'tool' %}{{ '<|im_start|>user\n' + m.content + '<|im_end|>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

GEMMA_TOKENS = ("<start_of_turn>", "<end_of_turn>")
GEMMA_REPLY = r"<start_of_turn>model\n(?P<said>.*?<end_of_turn>\n)"
PHI_TOKENS = ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "<|endoftext|>")
HARMONY_TOKENS = ("<|start|>", "<|message|>", "<|channel|>", "<|end|>", "<|return|>", "<|call|>")
HARMONY_REPLY = (
    r"<\|start\|>assistant(?P<said>(?:<\|channel\|>analysis.*?<\|end\|><\|start\|>assistant)?"
    r"[^|]*?<\|channel\|>.*?(?:<\|end\|>|<\|return\|>|<\|call\|>))"
)
GLM_TOKENS = ("[gMASK]", "<sop>", "<|system|>", "<|user|>", "<|assistant|>", "<|observation|>")

MORE_FAMILIES = {
    "gemma2": Family(GEMMA2, GEMMA_REPLY, GEMMA_TOKENS, "<bos>", "<eos>"),
    "gemma3": Family(GEMMA3, GEMMA_REPLY, GEMMA_TOKENS, "<bos>", "<eos>"),
    "phi3": Family(
        PHI3,
        r"<\|assistant\|>\n(?P<said>.*?<\|end\|>\n(?:<\|endoftext\|>)?)",
        PHI_TOKENS,
        "<s>",
        "<|endoftext|>",
        PHI_TOKENS[:4],
    ),
    "phi4": Family(
        PHI4,
        r"<\|im_start\|>assistant<\|im_sep\|>(?P<said>.*?<\|im_end\|>)",
        (*IM_TOKENS, "<|im_sep|>"),
        "<s>",
        "<|im_end|>",
    ),
    "granite": Family(
        GRANITE,
        r"<\|start_of_role\|>assistant<\|end_of_role\|>(?P<said>.*?<\|end_of_text\|>\n)",
        ("<|start_of_role|>", "<|end_of_role|>", "<|end_of_text|>", "<|tool_call|>"),
        "<s>",
        "<|end_of_text|>",
    ),
    "command-r": Family(
        COMMAND_R,
        r"<\|START\|><\|CHATBOT\|>(?P<said>.*?<\|END\|>)",
        ("<|START|>", "<|END|>", "<|SYSTEM|>", "<|USER|>", "<|CHATBOT|>"),
        "<bos>",
        "<|END|>",
    ),
    "glm": Family(
        GLM,
        r"<\|assistant\|>(?P<said>.*?(?=<\|user\|>|<\|observation\|>|$))",
        (*GLM_TOKENS, *THINK),
        "<s>",
        "<|endoftext|>",
    ),
    "gpt-oss": Family(HARMONY, HARMONY_REPLY, HARMONY_TOKENS, "<|startoftext|>", "<|return|>"),
    "smollm3": Family(
        SMOLLM3, r"<\|im_start\|>assistant\n(?P<said>.*?<\|im_end\|>\n)", (*IM_TOKENS, *THINK), "<s>", "<|im_end|>"
    ),
}
