// Makes one kind of call, so many times: node clients.mjs "openai chat" 2
// Prints a line of JSON for each: what came, or what was raised. On SIGINT it leaves, as a backend whose user has left.
import { createOpenAI } from "@ai-sdk/openai";
import { ChatOpenAI } from "@langchain/openai";
import { generateObject, generateText, stepCountIs, streamText, tool } from "ai";
import OpenAI from "openai";
import { z } from "zod";

const baseURL = `${process.env.GPTDOCK_URL}/v1`;
const apiKey = process.env.GPTDOCK_KEY ?? "dev-key";
const headers = { "X-Client-Id": "1234", "X-Product-Id": "demo" };
const model = "gpt-4o-mini";
const question = "Who are you?";
const leaving = new AbortController();
process.once("SIGINT", () => leaving.abort());
const { signal } = leaving;

const openai = new OpenAI({ baseURL, apiKey, defaultHeaders: headers });
const asked = { model: createOpenAI({ baseURL, apiKey, headers })(model), abortSignal: signal, maxRetries: 0 };
const langchain = (more) =>
  new ChatOpenAI({ model, apiKey, maxRetries: 0, configuration: { baseURL, defaultHeaders: headers }, ...more });
const messages = [{ role: "user", content: question }];
const City = z.object({ name: z.string(), rank: z.number() });
const weather = tool({
  description: "The weather of a city",
  inputSchema: z.object({ city: z.string() }),
  execute: async ({ city }) => `sunny in ${city}`,
});

const CALLS = {
  "openai chat": async () =>
    (await openai.chat.completions.create({ model, messages }, { signal })).choices[0].message.content,
  "openai chat, streamed": async () =>
    textOf(
      await openai.chat.completions.create({ model, messages, stream: true }, { signal }),
      (chunk) => chunk.choices[0]?.delta?.content,
    ),
  "openai responses": async () => {
    const response = await openai.responses.create({ model, input: question }, { signal });
    if (response.status === "failed") throw new Error(response.error.message); // the package raises nothing
    return response.output_text;
  },
  "openai responses, streamed": async () =>
    textOf(await openai.responses.create({ model, input: question, stream: true }, { signal }), (event) => {
      if (event.type === "response.failed") throw new Error(event.response.error.message); // nor here
      return event.type === "response.output_text.delta" ? event.delta : "";
    }),
  "openai embeddings": async () =>
    (await openai.embeddings.create({ model: "text-embedding-3-small", input: question }, { signal })).data[0].embedding
      .length,
  "vercel generateText": async () => (await generateText({ ...asked, prompt: question })).text,
  "vercel streamText": async () => textOfVercel(streamText({ ...asked, prompt: question, onError() {} })),
  "vercel streamText, a tool": async () =>
    textOfVercel(streamText({ ...asked, prompt: question, tools: { weather }, stopWhen: stepCountIs(5), onError() {} })),
  "vercel generateObject": async () => (await generateObject({ ...asked, prompt: question, schema: City })).object,
  "langchain": async () => (await langchain().invoke(question, { signal })).text,
  "langchain, streamed": async () => textOf(await langchain().stream(question, { signal }), (chunk) => chunk.text),
  "langchain responses, streamed": async () => {
    let status;
    const stream = await langchain({ useResponsesApi: true }).stream(question, { signal });
    const text = await textOf(stream, (chunk) => {
      status = chunk.response_metadata.status ?? status;
      return chunk.text;
    });
    if (!status) throw new Error("failed"); // LangChain passes over `response.failed`
    return text;
  },
  "langchain, a schema": async () => await langchain().withStructuredOutput(City).invoke(question, { signal }),
};

async function textOf(stream, textIn) {
  let text = "";
  for await (const each of stream) text += textIn(each) ?? "";
  if (signal.aborted) throw new Error("left"); // some streams just end then
  return text;
}

// `result.textStream` just ends at an error; only `fullStream` tells it.
const textOfVercel = (result) =>
  textOf(result.fullStream, (part) => {
    if (part.type === "error") throw part.error;
    return part.type === "text-delta" ? part.text : "";
  });

for (let left = Number(process.argv[3] ?? 1); left; left--) {
  try {
    console.log(JSON.stringify({ came: await CALLS[process.argv[2]]() }));
  } catch (error) {
    const status = error.status ?? error.statusCode ?? null;
    console.log(JSON.stringify({ raised: error.name ?? error.type ?? "Error", status, message: error.message }));
  }
}
process.exit();
