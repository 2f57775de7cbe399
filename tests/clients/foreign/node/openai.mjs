// Runs the released `openai` for Node against a service; prints JSON.
//     node openai.mjs MODE URL KEY PICTURE
import { readFile } from "node:fs/promises";
import OpenAI from "openai";

const [mode, url, key, picture] = process.argv.slice(2);
const uri = `data:image/jpeg;base64,${(await readFile(picture)).toString("base64")}`;
const connect = (apiKey = key) => new OpenAI({ baseURL: `${url}/v1`, apiKey, maxRetries: 8 });
const messages = (text = "", image = uri) => [
  {
    role: "user",
    content: [
      { type: "text", text },
      { type: "image_url", image_url: { url: image } },
    ],
  },
];

async function whole() {
  const completion = await connect().chat.completions.create({
    model: "gpt-4o",
    messages: messages(),
    max_completion_tokens: 4096,
  });
  const { content, grounding } = completion.choices[0].message;
  return { text: content, grounding, usage: completion.usage.total_tokens };
}

async function stream() {
  const chunks = await connect().chat.completions.create({
    model: "gpt-4o",
    messages: messages(),
    stream: true,
    stream_options: { include_usage: true },
  });
  const texts = [];
  let grounding, usage;
  for await (const chunk of chunks) {
    usage = chunk.usage?.total_tokens ?? usage;
    for (const { delta } of chunk.choices) {
      texts.push(delta.content ?? "");
      grounding = delta.grounding ?? grounding;
    }
  }
  return { texts, grounding, usage };
}

async function located() {
  const completion = await connect().chat.completions.create({
    model: "gpt-4o",
    messages: messages("a red circle"),
    task: "phrase_grounding",
  });
  const { content, grounding } = completion.choices[0].message;
  return { text: content, grounding };
}

async function detections() {
  const completion = await connect().chat.completions.create({
    model: "gpt-4o",
    messages: messages(),
    response_format: { type: "json_object" },
  });
  return JSON.parse(completion.choices[0].message.content);
}

async function errorOf(call) {
  try {
    await call();
  } catch (error) {
    if (error instanceof OpenAI.APIError)
      return [error.constructor.name, error.status, error.code, error.message];
    throw error;
  }
  throw new Error("the call was not refused");
}

const ask = (client, options) => client.chat.completions.create({ model: "m", ...options });

async function errors() {
  const elsewhere = messages("", "https://a.example/b.png");
  return {
    url: await errorOf(() => ask(connect(), { messages: elsewhere })),
    n: await errorOf(() => ask(connect(), { messages: messages(), n: 2 })),
    key: await errorOf(() => ask(connect("wrong"), { messages: messages() })),
    model: await errorOf(() => connect().models.retrieve("gpt-4o")),
  };
}

async function answers() {
  const models = (await connect().models.list()).data.map((model) => model.id);
  return {
    models,
    whole: await whole(),
    stream: await stream(),
    located: await located(),
    detections: await detections(),
    errors: await errors(),
  };
}

async function retry() {
  const options = { messages: messages(), max_tokens: 4 };
  const completion = await ask(connect(), options);
  return { has_answer: completion.choices.length === 1 };
}

async function cancel() {
  const options = { messages: messages(), max_tokens: 400, stream: true };
  for await (const chunk of await ask(connect(), options))
    return { role: chunk.choices[0].delta.role }; // leaving the loop closes the connection
}

// The engine fails after a few tokens, because of the seed.
async function broken() {
  const options = { messages: messages(), max_tokens: 50, stream: true, seed: 1_000_003 };
  let numChunks = 0;
  try {
    for await (const _ of await ask(connect(), options)) numChunks += 1;
  } catch (error) {
    if (!(error instanceof OpenAI.APIError)) throw error;
    return { num_chunks: numChunks, code: error.code, message: error.message };
  }
  throw new Error("the stream did not fail");
}

console.log(JSON.stringify(await { answers, retry, cancel, broken }[mode]()));
process.exit(0);
