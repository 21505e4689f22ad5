"""The attentive task: Esteve-Cogollos & Fernández-Torres 2020, gazes that segment and diagnose. `task` is what is called."""
