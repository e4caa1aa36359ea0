// The request of the form as programs to copy. They read the key from GPTDOCK_KEY.

import { payer } from "./api.js";

const shell = (text) => `'${text.replaceAll("'", "'\\''")}'`;
const literal = (value) => JSON.stringify(value);

function body({ question, model }) {
  return { model, messages: [{ role: "user", content: question }], stream: true };
}

const base = (asked) => location.origin + payer(asked).base;

function headers(asked, before, after = "") {
  const given = payer(asked).headers;
  return Object.keys(given).length ? before + literal(given) + after : "";
}

function curlHeaders(asked) {
  const given = Object.entries(payer(asked).headers).map(([name, value]) => `-H ${shell(`${name}: ${value}`)}`);
  return given.length ? `  ${given.join(" ")} \\\n` : "";
}

export const LANGUAGES = {
  curl: (asked) => `curl -sN ${shell(`${base(asked)}/chat/completions`)} \\
  -H "Authorization: Bearer $GPTDOCK_KEY" \\
${curlHeaders(asked)}  -d ${shell(JSON.stringify(body(asked)))}`,

  Python: (asked) => `import os
import openai

gptdock = openai.OpenAI(base_url=${literal(base(asked))}, api_key=os.environ["GPTDOCK_KEY"])
stream = gptdock.chat.completions.create(
    model=${literal(asked.model)},
    messages=[{"role": "user", "content": ${literal(asked.question)}}],
    stream=True,${headers(asked, "\n    extra_headers=")}
)
for chunk in stream:
    for choice in chunk.choices:
        print(choice.delta.content or "", end="", flush=True)`,

  JavaScript: (asked) => `import OpenAI from "openai";

const gptdock = new OpenAI({ baseURL: ${literal(base(asked))}, apiKey: process.env.GPTDOCK_KEY });
const stream = await gptdock.chat.completions.create(
  { model: ${literal(asked.model)}, messages: [{ role: "user", content: ${literal(asked.question)} }], stream: true },${headers(asked, "\n  { headers: ", " },")}
);
for await (const chunk of stream) process.stdout.write(chunk.choices[0]?.delta.content ?? "");`,
};
