/**
 * What people wrote about a cluster: profiles, packs, user data, site file → the images that are
 * wanted, each with its place in the file, and the settings that decide about them.
 *
 * @module
 */
export { isInfrastructure, LAYERS, type Layer } from "./layer.ts";
