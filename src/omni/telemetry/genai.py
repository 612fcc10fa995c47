"""The names of OpenTelemetry's semantic conventions that we use: GenAI and MCP. They are in development and may change.

Only names, kinds and numbers go into spans: no description, prompt, answer or error text, which may hold anything.
"""

from __future__ import annotations

SERVICE = "omni"
INSTRUMENTATION = "omni-orchestrator"

# GenAI
OPERATION = "gen_ai.operation.name"
INVOKE_AGENT = "invoke_agent"
EXECUTE_TOOL = "execute_tool"
CHAT = "chat"
AGENT_NAME = "gen_ai.agent.name"
TOOL_NAME = "gen_ai.tool.name"
PROVIDER = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
RESPONSE_MODEL = "gen_ai.response.model"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
CACHE_READ_TOKENS = "gen_ai.usage.cache_read.input_tokens"
CACHE_WRITE_TOKENS = "gen_ai.usage.cache_creation.input_tokens"

# MCP and general
MCP_METHOD = "mcp.method.name"
TOOLS_CALL = "tools/call"
ERROR_TYPE = "error.type"

# Ours, where the conventions have no name
TASK = "omni.task.id"
TASK_TYPE = "omni.task.type"
TASK_STATE = "omni.task.state"
ATTEMPT = "omni.attempt.number"
ATTEMPT_STATE = "omni.attempt.state"
MODE = "omni.mode"
TIER = "omni.tier"
CALL = "omni.call.id"
COST_BILLED = "omni.cost.billed_usd"
COST_IMPUTED = "omni.cost.imputed_usd"
FIRST_BYTE_MS = "omni.first_byte_ms"
