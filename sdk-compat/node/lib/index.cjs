"use strict";
// The whole package.
const { MisoObject, Batch } = require("./object.cjs");
const { ofReply, ...errors } = require("./errors.cjs");
const { encode, decode } = require("./codec.cjs");
const { settings, defaultId } = require("./settings.cjs");
const types = require("./types.cjs");

module.exports = { MisoObject, StatefulObject: MisoObject, Batch, ...types, ...errors, encode, decode, settings, defaultId };
