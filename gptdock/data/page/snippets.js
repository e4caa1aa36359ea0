// The request of the form as programs to copy. The key is not in them.

const shell = (text) => `'${text.replaceAll("'", "'\\''")}'`;
const literal = (value) => JSON.stringify(value);

function body({ question, model }) {
  return { model, messages: [{ role: "user", content: question }], stream: true };
}

export const LANGUAGES = {
  curl: (asked) => `curl -sN ${location.origin}/v1/chat/completions \\
  -H "Authorization: Bearer $GPTDOCK_KEY" \\
  -H ${shell(`X-Client-Id: ${asked.client}`)} -H ${shell(`X-Product-Id: ${asked.product}`)} \\
  -d ${shell(JSON.stringify(body(asked)))}`,

  Python: (asked) => `import os
import openai

gptdock = openai.OpenAI(base_url="${location.origin}/v1", api_key=os.environ["GPTDOCK_KEY"])
stream = gptdock.chat.completions.create(
    model=${literal(asked.model)},
    messages=[{"role": "user", "content": ${literal(asked.question)}}],
    stream=True,
    extra_headers={"X-Client-Id": ${literal(asked.client)}, "X-Product-Id": ${literal(asked.product)}},
)
for chunk in stream:
    for choice in chunk.choices:
        print(choice.delta.content or "", end="", flush=True)`,

  JavaScript: (asked) => `import OpenAI from "openai";

const gptdock = new OpenAI({ baseURL: "${location.origin}/v1", apiKey: process.env.GPTDOCK_KEY });
const stream = await gptdock.chat.completions.create(
  { model: ${literal(asked.model)}, messages: [{ role: "user", content: ${literal(asked.question)} }], stream: true },
  { headers: { "X-Client-Id": ${literal(asked.client)}, "X-Product-Id": ${literal(asked.product)} } },
);
for await (const chunk of stream) process.stdout.write(chunk.choices[0]?.delta.content ?? "");`,
};
