// What codes mean, in words.

const ERRORS = {
  invalid_request: "A field is wrong; the request was not sent on, and nothing was charged.",
  prompt_too_long: "The question alone is longer than MAX_PROMPT_TOKENS.",
  context_length_exceeded: "The prompt is too long for this model.",
  insufficient_quota: "The quota cannot pay for the prompt and a short answer. OpenAI was not asked, and nothing was charged.",
  quota_on_hold: "What is left is reserved for answers that are still open. Try again when they end.",
  forbidden: "The key is missing or wrong: see Keys.",
  client_not_found: "This client never asked for this product.",
  model_not_found: "This model is not served: see OPENAI_MODELS.",
  payload_too_large: "The request is larger than MAX_BODY_BYTES.",
  rate_limited: "OpenAI limits the rate of your account.",
  internal_error: "A bug in GPTDock; the log has it under the request id.",
  upstream_error: "OpenAI refused, broke off or was unreachable. What it had generated is charged.",
  upstream_timeout: "OpenAI took too long. What it may have generated is charged.",
  upstream_quota: "Your account at OpenAI is out of credit.",
  overloaded: "MAX_STREAMS answers are open in this process.",
  draining: "This process is about to stop; another one serves.",
  ledger_unavailable: "DynamoDB did not answer, so the quota is unknown.",
  broken: "The connection broke. What was generated is charged.",
  unreachable: "GPTDock cannot be reached from this browser.",
};

const CHARGES = {
  upstream: "OpenAI reported this number.",
  counted: "Counted by GPTDock: the prompt, and what came until it was cut.",
  lost: "Its process died: charged by what it last reported.",
  late: "A process that was cut off corrected what it was charged.",
};

const CHANGES = {
  set_quota: "An operator set the quota",
  reset: "An operator reset the period: what was used is 0 again",
  credit: "An operator added tokens",
  import: "Brought over from another service",
  forget: "An operator had an id forgotten",
};

const OUTCOMES = {
  complete: "The answer was complete.",
  caller_left: "The caller left before the end.",
  released: "An operator ended what the dead process held.",
};

export function explain(code, retryAfter) {
  const words = ERRORS[code] ?? "";
  return retryAfter ? `${words} Try again in ${retryAfter} s.` : words;
}

const grouped = (text) => text.replace(/^[0-9> +-]+/, (numbers) => numbers.replace(/\B(?=(\d{3})+\b)/g, ","));

/** Why a receipt has its number. */
export function whyCharged({ source, outcome, tokens }) {
  if (CHANGES[source]) return outcome === source ? `${CHANGES[source]}.` : `${CHANGES[source]}: ${grouped(outcome)}.`;
  const why = CHARGES[source] ?? `Source: ${source}.`;
  const how = OUTCOMES[outcome] ?? (ERRORS[outcome] ? `${outcome}: ${ERRORS[outcome]}` : "");
  return tokens === 0 && source === "counted" ? `Nothing was generated. ${how}` : `${how} ${why}`.trim();
}
