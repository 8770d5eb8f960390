/**
 * The status page: what the agent tells goes one way, from the API to the sections, each of which
 * shows its part of the state and touches only what has changed.
 *
 * @import {ImageState, SiteState} from "../state.ts"
 * @import {Me} from "./api.js"
 */
import { showActions } from "./actions.js";
import { ApiFailure, follow, getMe, getSite, logout } from "./api.js";
import { showProgress } from "./delivery.js";
import { byId, setText } from "./dom.js";
import { showFlow } from "./flow.js";
import { setUpImages, showImages } from "./images.js";
import { addToJournal, refreshJournal, setUpJournal } from "./journal.js";
import { askForLogin } from "./login.js";
import { showPanels } from "./panels.js";
import { setUpUplink, showUplink } from "./uplink.js";
import { showRefused, showVerdict, showWarnings } from "./verdict.js";

/** @type {Me} */
let me = { user: null, role: "read", login: "none" };
/** @type {SiteState | undefined} */
let site;
/** Of the revision that is shown; undefined until they were asked for. @type {readonly ImageState[] | undefined} */
let images;
/** When the state in sight came, by the browser's clock. */
let heardAt = 0;

/**
 * All but the sentence, in the order in which it is drawn. The list of images takes longest to come: it is
 * asked for before anything is drawn that can wait.
 *
 * @type {readonly ((state: SiteState) => void)[]}
 */
const SECTIONS = [
  showImages,
  (state) => {
    showActions(state, me);
    showWarnings(state);
    showRefused(state);
  },
  showProgress,
  (state) => {
    // A picture without the images would be of nothing, and drawn again as soon as they are here.
    const isNothingWanted = state.active === null && state.staged === null && state.wanted === null;
    if (images !== undefined || state.delivery !== null || isNothingWanted) {
      showFlow(state, images ?? []);
    }
  },
  showUplink,
  showPanels,
];

/** A task that takes longer keeps a finger waiting. */
const TASK_MS = 30;

let isSetUp = false;
let isDrawing = false;
let isStale = false;

/**
 * Draws all sections with the newest state, at most once a frame, however fast states come. A slow tablet
 * gets its turns in between; each of them costs a layout of the page, so a fast machine gets none.
 */
async function draw() {
  isStale = true;
  if (isDrawing || !isSetUp) return;
  isDrawing = true;
  while (isStale) {
    isStale = false;
    let begunAt = performance.now();
    for (const show of SECTIONS) {
      if (performance.now() - begunAt > TASK_MS) {
        await nextTask();
        begunAt = performance.now();
      }
      if (site === undefined) continue;
      try {
        show(site);
      } catch (error) {
        // A section that has failed keeps the others from nothing.
        reportError(error);
      }
    }
    await nextFrame();
  }
  isDrawing = false;
}

/** @returns {Promise<void>} */
const nextFrame = () => new Promise((resolve) => requestAnimationFrame(() => resolve()));

/** What the browser has to do meanwhile, it does. A time-out of 0 would be one of 4 ms. @returns {Promise<void>} */
const nextTask = () =>
  new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });

/** @param {SiteState} state */
function take(state) {
  // An answer that was overtaken by an event; an agent that was restarted counts from the start.
  const isOld = site?.startedMs === state.startedMs && state.revisionOfState < site.revisionOfState;
  if (isOld) return;
  site = state;
  heardAt = Date.now();
  showVerdict(state);
  void draw();
}

/** @param {"connected" | "lost"} how */
function showConnection(how) {
  document.documentElement.dataset.connection = how;
  setText(byId("connection"), how === "connected" ? "Live" : lostText());
}

function lostText() {
  if (heardAt === 0) return "Connection lost, trying again.";
  const since = new Date(heardAt).toLocaleTimeString();
  return `Connection lost, trying again. What is shown is of ${since}.`;
}

async function start() {
  const told = firstWords();
  if (told === undefined) {
    await letIn();
    take(await getSite());
  } else {
    greet(told.me);
    take(told.state);
  }
  setUpImages((all) => {
    images = all;
    void draw();
  });
  setUpUplink();
  setUpJournal();
  byId("logout").addEventListener("click", async () => {
    // Without an answer the page finds out when it is loaded who is there.
    await logout().catch(() => undefined);
    location.reload();
  });
  isSetUp = true;
  const drawn = draw();
  // All of that state is in sight before another is asked for; who sees nothing is not waited for.
  if (!document.hidden) await drawn;
  const stop = follow({
    state: take,
    journal: addToJournal,
    connected: () => {
      showConnection("connected");
      void refreshJournal();
    },
    lost: () => {
      showConnection("lost");
      void checkSession(stop);
    },
  });
}

/**
 * Who is there, and the state of the site, where the page came with them.
 *
 * @returns {{me: Me, state: SiteState} | undefined}
 */
function firstWords() {
  const data = document.getElementById("first-words")?.textContent;
  return data ? JSON.parse(data) : undefined;
}

/** Until the agent lets the reader in, nothing else is asked for. */
async function letIn() {
  for (;;) {
    const known = await whoAmI();
    if (known !== null) {
      greet(known);
      return;
    }
    await askForLogin();
  }
}

/** @param {Me} known who is there */
function greet(known) {
  me = known;
  const { user, role, login: need } = known;
  setText(byId("who"), user === null ? "" : `${user}${role === "read" ? ", may read" : ""}`);
  byId("logout").hidden = need === "none" || user === null;
}

/** Null when somebody has to log in first. */
async function whoAmI() {
  try {
    const known = await getMe();
    return known.login === "required" && known.user === null ? null : known;
  } catch (error) {
    if (error instanceof ApiFailure && error.status === 401) return null;
    throw error;
  }
}

/** A session that has ended looks like a lost connection. @param {() => void} stop */
async function checkSession(stop) {
  const known = await whoAmI().catch(() => me);
  if (known !== null) return;
  stop();
  await askForLogin();
  location.reload();
}

start().catch((error) => {
  // The sections stay empty: say why, and let the page try again by itself.
  byId("verdict").dataset.level = "failed";
  setText(byId("level"), "No answer");
  setText(byId("sentence"), error instanceof ApiFailure ? error.message : "This page has failed");
  setText(byId("waiting"), "Trying again in ten seconds.");
  setTimeout(() => location.reload(), 10_000);
});
