// The tasks as the page offers them.

/**
 * `text` is the label of the field, `samples` its first value for the embedded and for other models.
 * `prompt` returns the words that precede the answer in its text.
 */
export const TASKS = [
  {
    name: "brief_caption",
    label: "Brief caption",
    hint: "One sentence about the picture, with a box for every object that it mentions.",
    prompt: () => "An image of",
  },
  {
    name: "detailed_caption",
    label: "Detailed caption",
    hint: "Several sentences, with a box for every object that they mention.",
    prompt: () => "Describe this image in detail:",
  },
  {
    name: "phrase_grounding",
    label: "Find a phrase",
    hint: "The boxes of everything that the phrase names. The model always gives a box, also for what is not there.",
    text: "Phrase",
    samples: ["a red circle", "a person"],
    prompt: (text) => text,
  },
  {
    name: "referring_expression_comprehension",
    label: "Find one object",
    hint: "The box of the one object that the expression describes.",
    text: "Expression",
    samples: ["the red circle left of the blue square", "the person on the left"],
    prompt: (text) => text,
  },
  {
    name: "referring_expression_generation",
    label: "Describe a region",
    hint: "Drag over the picture, or press “Draw a region”, or type the four edges.",
    region: "required",
    prompt: () => "It is",
  },
  {
    name: "grounded_vqa",
    label: "Ask a question",
    hint: "An answer with boxes. Drag over the picture to ask about a region of it.",
    text: "Question",
    samples: ["How many red circles are there?", "What is in the picture?"],
    region: "allowed",
    prompt: (text) => `Question: ${text} Answer:`,
  },
  {
    name: "detect",
    label: "Class list",
    hint: "All objects of each class, with a confidence that also shows whether the class is there.",
    text: "Classes, separated by commas",
    samples: ["red circle, blue square, green star", "person, dog, car"],
    prompt: () => "",
  },
  {
    name: "raw",
    label: "Raw prompt",
    hint: "Your own prompt, which may contain the tags of the model.",
    text: "Prompt",
    samples: ["<grounding> An image of", "<grounding> An image of"],
    prompt: () => "",
  },
];

export const taskNamed = (name) => TASKS.find((task) => task.name === name);
