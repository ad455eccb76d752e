"""The bodies of the OpenAI-compatible API, strictly read: what is not understood is refused, not dropped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from jsonschema import Draft202012Validator, SchemaError
from jsonschema.validators import validator_for
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from context_manager.openai_errors import ApiError
from context_manager.prior_answers import said_in, text_in
from discovery.sources import HandlingTerms

Body = TypeVar("Body", bound=BaseModel)

MAX_ENTITIES = 20
_SHOWN = 200
"""Characters of what is wrong with a schema: the schema itself may be in it."""
_OWN = {"model", "stream", "stream_options", "orgraph", "user", "n", "store", "metadata"}
"""Fields that no engine gets."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Extension(_Strict):
    """What Orgraph adds to OpenAI's requests: context from the graph, and how to be stricter with it."""

    question: Annotated[str, Field(min_length=1)] | None = None
    """Facts are looked for that answer this."""
    entities: Annotated[tuple[str, ...], Field(max_length=MAX_ENTITIES)] = ()
    """Ids of entities whose facts are wanted."""
    handling: HandlingTerms = HandlingTerms()
    """Narrows where the request may be processed; nothing that stands here widens it."""
    priority: Literal["interactive", "batch"] = "interactive"


class Message(BaseModel):
    """A message; what more it carries (tool calls, names) goes to the engine as it is."""

    model_config = ConfigDict(extra="allow", frozen=True)

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | tuple[dict[str, Any], ...] | None = None

    def text(self) -> str:
        return text_in(self.content)

    def said(self) -> list[str]:
        """As `said_in`."""
        return said_in({"content": self.content, **(self.model_extra or {})})


class StreamOptions(_Strict):
    include_usage: bool = False
    include_obfuscation: bool = False


class JsonSchema(_Strict):
    name: Annotated[str, Field(pattern=r"^[\w-]{1,64}$")]
    description: str | None = None
    schema_: Annotated[dict[str, Any], Field(alias="schema")]
    strict: bool | None = None


class ResponseFormat(_Strict):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class Function(_Strict):
    name: Annotated[str, Field(pattern=r"^[\w-]{1,64}$")]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(_Strict):
    type: Literal["function"]
    function: Function


class ChatBody(_Strict):
    """`POST /v1/chat/completions`."""

    model: Annotated[str, Field(min_length=1)]
    messages: Annotated[tuple[Message, ...], Field(min_length=1)]
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    stop: str | Annotated[tuple[str, ...], Field(max_length=4)] | None = None
    seed: int | None = None
    n: Literal[1] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    response_format: ResponseFormat | None = None
    tools: tuple[Tool, ...] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    user: str | None = None
    store: Literal[False] | None = None
    metadata: dict[str, str] | None = None
    orgraph: Extension = Extension()

    def for_engine(self) -> dict[str, Any]:
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude=_OWN)

    def answer_tokens(self) -> int:
        return self.max_completion_tokens or self.max_tokens or 0

    def schemas(self) -> dict[str, dict[str, Any]]:
        """The JSON schemas in it, by where they stand."""
        found = {
            f"tools.{i}.function.parameters": tool.function.parameters
            for i, tool in enumerate(self.tools or ())
        }
        if self.response_format is not None and self.response_format.json_schema is not None:
            found["response_format.json_schema.schema"] = self.response_format.json_schema.schema_
        return {place: schema for place, schema in found.items() if schema is not None}


class EmbeddingsBody(_Strict):
    """`POST /v1/embeddings`."""

    model: Annotated[str, Field(min_length=1)]
    input: (
        Annotated[str, Field(min_length=1)]
        | Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1, max_length=256)]
    )
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None
    user: str | None = None
    orgraph: Extension = Extension()

    def texts(self) -> list[str]:
        return [self.input] if isinstance(self.input, str) else list(self.input)


def read_chat(content: Any) -> ChatBody:
    """Raises ApiError for what is not understood, images among it."""
    body = _read(ChatBody, content)
    for number, message in enumerate(body.messages):
        if isinstance(message.content, tuple):
            for part in message.content:
                if part.get("type") != "text" or not isinstance(part.get("text"), str):
                    raise ApiError(
                        400,
                        "unsupported_content",
                        f"messages.{number} has a part of type {str(part.get('type'))[:40]!r}: "
                        "the models here read text alone",
                        param=f"messages.{number}.content",
                    )
    wanted = body.response_format
    if wanted is not None and (wanted.type == "json_schema") is not (wanted.json_schema is not None):
        raise ApiError(
            400,
            "invalid_schema",
            "`json_schema` goes with the type json_schema, and only with it",
            param="response_format",
        )
    return body


def check_schemas(schemas: Mapping[str, Mapping[str, Any]]) -> None:
    """Raises ApiError for the first that is no JSON schema. Seconds for the largest that is read."""
    for place, schema in schemas.items():
        try:
            validator_for(schema, default=Draft202012Validator).check_schema(schema)
        except SchemaError as error:
            why = f"{place} is no JSON schema: {error.json_path}: {error.message[:_SHOWN]}"
            raise ApiError(400, "invalid_schema", why, param=place) from None
        except (RecursionError, TypeError):  # nested too deeply; a `$schema` that is no text
            raise ApiError(400, "invalid_schema", f"{place} is no JSON schema", param=place) from None


def read_embeddings(content: Any) -> EmbeddingsBody:
    """Raises ApiError for what is not understood."""
    return _read(EmbeddingsBody, content)


def _read(form: type[Body], content: Any) -> Body:
    try:
        return form.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)
        param = ".".join(map(str, first[0]["loc"])) or None
        wrong = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'the body'}: {e['msg']}" for e in first[:3])
        raise ApiError(400, "invalid_request", wrong, param=param) from None
