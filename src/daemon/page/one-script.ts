/**
 * Makes one script of modules: each becomes a function of its own, in an order in which what a module
 * imports comes before it, and its exports the names that the function gives back. A browser that is
 * slowed six times spends a tenth of a second on asking for 17 modules; names and lines stay as they are.
 *
 * It knows the forms that the page is written in, `import { a } from "./b.js"` and `export` before
 * `const`, `function` or `class`, and throws on any other.
 *
 * @param modules source texts by name, without `.js`
 * @param entry the module that runs for its own sake; it comes last
 */
export function oneScript(modules: Readonly<Record<string, string>>, entry: string): string {
  const done = new Set<string>();
  const parts: string[] = [];
  const add = (name: string, above: readonly string[]) => {
    if (done.has(name)) return;
    if (above.includes(name)) throw new Error(`${name}.js imports itself, by ${above.join(", ")}`);
    const text = modules[name];
    if (text === undefined) throw new Error(`There is no module ${name}.js`);
    for (const [, , from = ""] of text.matchAll(IMPORT)) add(from, [...above, name]);
    done.add(name);
    parts.push(asFunction(name, text));
  };
  add(entry, []);
  return parts.join("\n");
}

const IMPORT = /^import (\{[^}]*\}) from "\.\/([\w-]+)\.js";\n/gm;
const EXPORT = /^export (?=(?:const|class|function|async function) (\w+))/gm;

function asFunction(name: string, text: string): string {
  const exported = [...text.matchAll(EXPORT)].map(([, own]) => own);
  const body = text
    .replace(IMPORT, (_, names: string, from: string) => {
      return `const ${names.replaceAll(" as ", ": ")} = ${constantOf(from)};\n`;
    })
    .replace(EXPORT, "");
  const left = /^(?:import|export)\b.*/m.exec(body);
  if (left !== null) throw new Error(`${name}.js has what is not understood: ${left[0]}`);
  return `// ${name}.js\nconst ${constantOf(name)} = (() => {\n${body}\nreturn { ${exported.join(", ")} };\n})();\n`;
}

/** No name of the modules themselves begins so: `$flowGraph`. */
function constantOf(name: string): string {
  return `$${name.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase())}`;
}
