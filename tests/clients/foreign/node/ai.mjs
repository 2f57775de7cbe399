// Runs the released `ai` with `@ai-sdk/openai-compatible` against a service; prints JSON.
//     node ai.mjs MODE URL KEY PICTURE
import { readFile } from "node:fs/promises";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, generateText, streamText } from "ai";

const [mode, url, key, picture] = process.argv.slice(2);
const image = await readFile(picture);
const connect = (apiKey = key) =>
  createOpenAICompatible({
    name: "kosmos2",
    baseURL: `${url}/v1`,
    apiKey,
    includeUsage: true,
  })("gpt-4o");
const request = (options = {}) => ({
  model: connect(),
  messages: [{ role: "user", content: [{ type: "image", image }] }],
  maxRetries: 8,
  ...options,
});

async function whole() {
  const result = await generateText(request());
  const { grounding } = result.response.body.choices[0].message;
  return { text: result.text, grounding, usage: result.usage.totalTokens };
}

async function stream() {
  const result = streamText(request());
  const texts = [];
  for await (const text of result.textStream) texts.push(text);
  return { texts, usage: (await result.usage).totalTokens };
}

async function errorOf(options) {
  try {
    await generateText(request(options));
  } catch (error) {
    if (APICallError.isInstance(error)) return [error.name, error.statusCode, error.message];
    throw error;
  }
  throw new Error("the call was not refused");
}

async function answers() {
  return {
    whole: await whole(),
    stream: await stream(),
    errors: {
      task: await errorOf({ providerOptions: { kosmos2: { task: "dance" } } }),
      key: await errorOf({ model: connect("wrong") }),
    },
  };
}

async function retry() {
  const { text } = await generateText(request({ maxOutputTokens: 4 }));
  return { has_answer: typeof text === "string" };
}

async function cancel() {
  const result = streamText(request({ maxOutputTokens: 400 }));
  for await (const text of result.textStream) {
    return { has_text: text.length > 0 };
  }
}

console.log(JSON.stringify(await { answers, retry, cancel }[mode]()));
process.exit(0);
