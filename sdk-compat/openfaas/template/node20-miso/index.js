"use strict";
require("miso-crdt/openfaas").serve(require("./function/handler"));
