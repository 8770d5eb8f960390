import { expect, test } from "bun:test";
import { oneScript } from "./one-script.ts";

/** What a script leaves in `told`. */
function run(script: string): readonly unknown[] {
  const told: unknown[] = [];
  new Function("told", `"use strict";\n${script}`)(told);
  return told;
}

test("modules run in the order of their imports, each once, with names of their own", () => {
  const script = oneScript(
    {
      main: `import { next } from "./step-one.js";
import {
  NAME,
  next as other,
} from "./two.js";
const draw = () => told.push("main", NAME, next(), other());
draw();
`,
      "step-one": `import { NAME } from "./two.js";
const draw = () => \`one after \${NAME}\`;
told.push("step-one");
export function next() {
  return draw();
}
`,
      two: `const draw = () => "of two";
told.push("two");
export const NAME = "two";
export const next = draw;
export class Thing {}
export async function later() {}
`,
    },
    "main",
  );
  expect(run(script)).toEqual(["two", "step-one", "main", "two", "one after two", "of two"]);
  expect(script).toContain("return { NAME, next, Thing, later };");
});

test("a module may have a name that another uses for something else", () => {
  const script = oneScript(
    {
      main: `import { read } from "./images.js";\nlet images = read();\ntold.push(images);\n`,
      images: "const images = [1];\nexport const read = () => images;\n",
    },
    "main",
  );
  expect(run(script)).toEqual([[1]]);
});

test.each([
  ["a default export", "export default 1;\n", "export default 1;"],
  ["a list of exports", "const a = 1;\nexport { a };\n", "export { a };"],
  ["a name that changes", "export let a = 1;\n", "export let a = 1;"],
  ["a whole module", 'import * as all from "./b.js";\n', "import * as all"],
  ["what comes from elsewhere", 'import { a } from "b";\n', 'import { a } from "b"'],
  ["a module that is missing", 'import { a } from "./b.js";\n', "There is no module b.js"],
  ["a circle", 'import { a } from "./main.js";\n', "main.js imports itself"],
])("%s is refused", (_, main, message) => {
  expect(() => oneScript({ main }, "main")).toThrow(message);
});
