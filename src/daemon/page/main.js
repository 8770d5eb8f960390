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
/** @type {readonly ImageState[]} */
let images = [];
/** When the state in sight came, by the browser's clock. */
let heardAt = 0;

/**
 * However fast states come, they are drawn once a frame: the sentence in one, so that a slow tablet shows
 * it first, and all else in the next. The list of images takes longest to come: it is asked for at once.
 */
const drawSoon = onceAFrame(() => {
  if (site === undefined) return;
  showVerdict(site);
  showActions(site, me);
  showWarnings(site);
  showRefused(site);
  showImages(site);
  drawRestSoon();
});

const drawRestSoon = onceAFrame(() => {
  if (site === undefined) return;
  showProgress(site);
  showFlow(site, images);
  showUplink(site);
  showPanels(site);
});

/** @param {() => void} draw */
function onceAFrame(draw) {
  let isAsked = false;
  return () => {
    if (isAsked) return;
    isAsked = true;
    requestAnimationFrame(() => {
      isAsked = false;
      draw();
    });
  };
}

/** @param {SiteState} state */
function take(state) {
  // An answer that was overtaken by an event; an agent that was restarted counts from the start.
  const isOld = site?.startedMs === state.startedMs && state.revisionOfState < site.revisionOfState;
  if (isOld) return;
  site = state;
  heardAt = Date.now();
  drawSoon();
}

/** @param {"connected" | "lost"} how */
function showConnection(how) {
  document.documentElement.dataset.connection = how;
  const since =
    heardAt === 0 ? "" : ` What is shown is of ${new Date(heardAt).toLocaleTimeString()}.`;
  setText(
    byId("connection"),
    how === "connected" ? "Live" : `Connection lost, trying again.${since}`,
  );
}

async function start() {
  setUpImages((all) => {
    images = all;
    drawSoon();
  });
  setUpUplink();
  setUpJournal();
  byId("logout").addEventListener("click", async () => {
    // Without an answer the page finds out when it is loaded who is there.
    await logout().catch(() => undefined);
    location.reload();
  });
  await letIn();
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
  take(await getSite());
}

/** Until the agent lets the reader in, nothing else is asked for. */
async function letIn() {
  for (;;) {
    const known = await whoAmI();
    if (known !== null) {
      me = known;
      setText(
        byId("who"),
        me.user === null ? "" : `${me.user}${me.role === "read" ? ", may read" : ""}`,
      );
      byId("logout").hidden = me.login === "none" || me.user === null;
      return;
    }
    await askForLogin();
  }
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
